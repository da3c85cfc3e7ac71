"""Keys with which programs of an account call the API, each with scopes of its own."""
