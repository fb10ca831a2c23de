"""Where conversations are kept: the port, a store in memory and the store on Postgres."""
