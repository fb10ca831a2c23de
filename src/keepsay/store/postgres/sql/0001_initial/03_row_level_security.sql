-- The second wall. Every function sets keepsay.user_key for its transaction; without it no row is visible.
-- The setting is read in a subquery, so that it is read once for each statement and not for each row.
ALTER TABLE __schema__.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.users FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.users
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));
CREATE POLICY operators_read ON __schema__.users FOR SELECT
    USING ((SELECT current_setting('keepsay.operator', true)) = 'on');

ALTER TABLE __schema__.conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.conversations FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.conversations
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));

ALTER TABLE __schema__.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.messages FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.messages
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));

ALTER TABLE __schema__.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.runs FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.runs
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));

ALTER TABLE __schema__.summaries ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.summaries FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.summaries
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));
