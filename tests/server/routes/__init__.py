"""Every route of the running server, as its OpenAPI document names them: a new route is tested by existing."""
