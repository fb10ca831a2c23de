-- For an application that logs in as another role than the one that migrates. Run it again after each migration.
GRANT USAGE ON SCHEMA __schema__ TO __app__;
GRANT SELECT ON __schema__.migrations TO __app__;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA __schema__ TO __app__;
