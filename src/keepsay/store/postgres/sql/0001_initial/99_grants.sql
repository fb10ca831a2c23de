-- The functions are the only door: they run as a role that owns no table and can go round no policy, and only who is
-- granted EXECUTE may call them. `keepsay migrate` says how to let another role in.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA __schema__ FROM PUBLIC;
