"""Who follows whom. Other features ask `service.Follows`."""
