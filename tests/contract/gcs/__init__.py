"""The stand-in of Cloud Storage, and our stores on it, through the real client."""
