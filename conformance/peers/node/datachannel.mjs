// libdatachannel, as node-datachannel brings it to Node, behind WHIP: it echoes packets of sound
// and what comes on data channels.

import { HOST, require, serve, versionOf } from "./front.mjs";

const library = require("node-datachannel");
const GATHERING_MS = 5_000;
let count = 0;

function gathered(peer) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    const look = (state) => {
      if (state !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    peer.onGatheringStateChange(look);
    look(peer.gatheringState());
  });
}

function echo(channel) {
  channel.onMessage((message) => {
    // An error in here, as from a channel that is closed by now, would end the process.
    if (!channel.isOpen()) return;
    if (typeof message === "string") channel.sendMessage(message);
    else channel.sendMessageBinary(Buffer.from(message));
  });
}

async function open(offer) {
  const peer = new library.PeerConnection(`call ${++count}`, {
    iceServers: [],
    bindAddress: HOST,
    disableAutoNegotiation: true,
  });
  // Kept, since a track or a channel that is collected as garbage is closed.
  const kept = [];
  peer.onTrack((track) => {
    kept.push(track);
    if (track.type() !== "audio") return;
    track.onMessage((packet) => track.sendMessageBinary(packet));
  });
  peer.onDataChannel((channel) => {
    kept.push(channel);
    echo(channel);
  });
  const close = () => {
    for (const each of kept) each.close();
    peer.close();
  };
  try {
    const done = gathered(peer);
    peer.setRemoteDescription(offer, "offer");
    peer.setLocalDescription("answer");
    await done;
  } catch (error) {
    close();
    throw error;
  }
  return { answer: peer.localDescription().sdp, close };
}

serve(open, `${versionOf("node-datachannel")} (libdatachannel ${library.getLibraryVersion()})`);
