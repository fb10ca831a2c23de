-- Every run rewrites its user's row: room on each page for the next version keeps that HOT.
ALTER TABLE __schema__.allowances SET (fillfactor = 50);
