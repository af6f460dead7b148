import net from "node:net";

net.createServer((socket) => {
  let data = Buffer.alloc(0), heard = [], quiet = 99;
  socket.on("data", (more) => {
    data = Buffer.concat([data, more]);
    for (let end; data.length >= 3 && data.length >= (end = 3 + data.readUInt16BE(1)); data = data.subarray(end)) {
      if (data[0] !== 0x10) continue; // only 20 ms of the caller's voice
      const voice = new Int16Array(data.buffer.slice(data.byteOffset + 3, data.byteOffset + end));
      quiet = Math.max(...voice) > 1000 ? 0 : quiet + 1;
      heard = quiet < 30 ? [...heard, data.subarray(0, end)] : [];
      if (quiet === 29) socket.write(Buffer.concat(heard)); // 600 ms of silence: say it all back
    }
  }).on("error", () => socket.destroy());
}).listen(Number(process.argv[2]), "127.0.0.1");
