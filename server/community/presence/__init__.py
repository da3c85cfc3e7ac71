"""Who is to be named as being here, and which of those whom one follows are. See docs/realtime.md."""
