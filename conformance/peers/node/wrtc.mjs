// libwebrtc, as @roamhq/wrtc brings it to Node, behind WHIP: it echoes sound and data channels.

import { HOST, require, serve, versionOf } from "./front.mjs";

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

// It gathers on every interface; told are the candidates of the one that it shall be reached at.
function ours(sdp) {
  const others = (line) => line.startsWith("a=candidate:") && !line.includes(` ${HOST} `);
  return sdp.split("\r\n").filter((line) => !others(line)).join("\r\n");
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
  return { answer: ours(peer.localDescription.sdp), close: () => peer.close() };
}

serve(open, versionOf("@roamhq/wrtc"));
