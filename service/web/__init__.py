"""What routes share: access, whole requests, streams' sessions, the API's description."""
