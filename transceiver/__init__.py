"""A WebRTC endpoint that stands behind a relay and hands plain audio to an application."""
