-- Room on each page for the next version of a row keeps updates HOT: no index entry, and old versions pruned in place.
ALTER TABLE __schema__.conversations SET (fillfactor = 50);
