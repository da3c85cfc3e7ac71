"""Who may do what: roles, the permissions that they carry, and whose a thing is."""
