-- Refuse the call: one SQLSTATE of class KS for each error of keepsay.errors, its facts as JSON in the detail.
CREATE FUNCTION __schema__.refuse(p_code text, p_facts jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = p_code, MESSAGE = 'keepsay refused the call', DETAIL = p_facts::text;
END
$$;
