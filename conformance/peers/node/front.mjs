// What the fronts for Node share: a WHIP door, saying that all is ready, leaving when asked.

import http from "node:http";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

export const HOST = process.env.PEER_HOST || "127.0.0.1";
const PORT = Number(process.env.PEER_PORT || 0);
const MOST_CALLS = 200;
const OFFER_BYTES = 200_000;
const ANSWER_MS = 20_000;

// Packages lie in the folder of peers, not beside this file.
const folder = path.join(process.env.PEER_HOME || process.cwd(), "package.json");
export const require = createRequire(folder);

export function versionOf(name) {
  const file = path.join(path.dirname(folder), "node_modules", name, "package.json");
  return JSON.parse(fs.readFileSync(file, "utf8")).version;
}

function ready(url, version) {
  const told = JSON.stringify({ url, version });
  const file = process.env.PEER_READY;
  if (!file) {
    console.log(told);
    return;
  }
  fs.writeFileSync(`${file}.half`, told);
  fs.renameSync(`${file}.half`, file);
}

async function body(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length <= OFFER_BYTES) parts.push(part);
  }
  // Only now: leaving the loop earlier would cut the connection that the refusal goes over.
  if (length > OFFER_BYTES) throw new Error("the offer is too long");
  return Buffer.concat(parts).toString("utf8");
}

function within(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), ANSWER_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// `open` takes an offer and resolves to { answer, close }; it rejects an offer that it cannot take.
export function serve(open, version) {
  const calls = new Map();
  let count = 0;

  async function post(request, response) {
    const type = (request.headers["content-type"] || "").split(";")[0].trim();
    if (type !== "application/sdp") return response.writeHead(415).end();
    let call;
    try {
      call = await within(open(await body(request)));
    } catch (error) {
      return response.writeHead(400).end(`${error}\n`);
    }
    const name = String(++count);
    calls.set(name, call);
    if (calls.size > MOST_CALLS) {
      const [oldest] = calls.keys();
      end(oldest);
    }
    const headers = { "Content-Type": "application/sdp", Location: `/whip/${name}` };
    return response.writeHead(201, headers).end(call.answer);
  }

  function end(name) {
    const call = calls.get(name);
    calls.delete(name);
    try {
      call.close();
    } catch (error) {
      console.error("closing:", error);
    }
  }

  const server = http.createServer((request, response) => {
    const [, door, name] = request.url.split("/");
    if (door !== "whip") return response.writeHead(404).end();
    if (request.method === "POST" && name === undefined) return post(request, response);
    if (request.method !== "DELETE") return response.writeHead(405).end();
    if (!calls.has(name)) return response.writeHead(404).end();
    end(name);
    return response.writeHead(200).end();
  });

  function leave() {
    for (const name of [...calls.keys()]) end(name);
    process.exit(0);
  }
  process.on("SIGTERM", leave);
  process.on("SIGINT", leave);
  process.stdin.on("end", leave).on("error", leave).resume();
  // A library that throws in a callback of its own must not take the other calls with it.
  process.on("uncaughtException", (error) => console.error("uncaught:", error));
  process.on("unhandledRejection", (error) => console.error("unhandled:", error));

  server.listen(PORT, HOST, () => ready(`http://${HOST}:${server.address().port}/whip`, version));
}
