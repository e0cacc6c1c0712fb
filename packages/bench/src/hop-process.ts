// The floor of a gateway in a process of its own: `hop-process.js <NATS URLs>`. It answers each
// request of HTTP/1.1 with what one `nc.request()` brings, and tells its address.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "@nats-io/transport-node";
import { hopSubject } from "./hop-subject.js";

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const nats = await connect({ servers: process.argv.slice(2) });
const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", async () => {
    const { data } = await nats.request(hopSubject, Buffer.concat(pieces), { timeout: 30_000 });
    response.writeHead(200, {
      "content-type": "application/proto",
      "content-length": data.length,
    });
    response.end(data);
  });
});
server.listen(0, "127.0.0.1", () => {
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
