// libwebrtc, as @roamhq/wrtc brings it to Node, behind WHIP: it echoes sound and data channels.

import { require, serve, versionOf } from "./front.mjs";

const { RTCPeerConnection } = require("@roamhq/wrtc");
const GATHERING_MS = 5_000;

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function open(offer) {
  const peer = new RTCPeerConnection({ iceServers: [] });
  peer.ontrack = ({ track, transceiver }) => {
    if (track.kind !== "audio") return;
    transceiver.direction = "sendrecv";
    transceiver.sender.replaceTrack(track);
  };
  peer.ondatachannel = ({ channel }) => {
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => channel.send(data);
  };
  try {
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered(peer);
  } catch (error) {
    peer.close();
    throw error;
  }
  return { answer: peer.localDescription.sdp, close: () => peer.close() };
}

serve(open, versionOf("@roamhq/wrtc"));
