"""Uploads of videos: resumable by tus 1.0, or one multipart request. A file's bytes on their way into the store."""
