"""A UDP relay that routes WebRTC by the ICE ufrag."""
