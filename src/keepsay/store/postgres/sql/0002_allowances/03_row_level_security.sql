-- The second wall, as before every other table.
ALTER TABLE __schema__.allowances ENABLE ROW LEVEL SECURITY;
ALTER TABLE __schema__.allowances FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON __schema__.allowances
    USING (user_key = (SELECT nullif(current_setting('keepsay.user_key', true), '')::uuid));
