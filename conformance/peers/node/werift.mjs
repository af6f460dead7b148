// werift behind WHIP: it echoes packets of sound and what comes on data channels.

import { HOST, require, serve, versionOf } from "./front.mjs";

// It takes addresses of interfaces that are not loopback, and here has to keep to one that is.
require("os").networkInterfaces = () => ({
  own: [{ address: HOST, family: "IPv4", internal: false }],
});
const { RTCPeerConnection } = require("werift");

async function open(offer) {
  const peer = new RTCPeerConnection({ iceServers: [], iceUseIpv6: false });
  peer.onTransceiverAdded.subscribe((transceiver) => {
    if (transceiver.kind !== "audio") return;
    transceiver.setDirection("sendrecv");
    transceiver.onTrack.subscribe((track) => {
      track.onReceiveRtp.subscribe((packet) => transceiver.sender.sendRtp(packet));
    });
  });
  peer.onDataChannel.subscribe((channel) => {
    channel.onMessage.subscribe((message) => channel.send(message));
  });
  try {
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    await peer.setLocalDescription(await peer.createAnswer());
  } catch (error) {
    peer.close();
    throw error;
  }
  return { answer: peer.localDescription.sdp, close: () => peer.close() };
}

serve(open, versionOf("werift"));
