import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import type { NatsServer } from "@jetrpc/testing";
import { Kind, WorkRequestSchema } from "../gen/chaos/v1/chaos_pb.js";
import type { Random } from "../random.js";
import type { FaultSource } from "./fault.js";

/** Header blocks that servers pass on, and clients do not understand. */
const blocks = [
  "NATS/1.0\r\nbad name: x\r\n\r\n",
  "NATS/1.0\r\nbad\u0001name: x\r\n\r\n",
  "NATS/1.0\r\nbad\u007fname: x\r\n\r\n",
  "NATS/1.0\r\n: x\r\n\r\n",
  "NATS/1.0\r\n : x\r\n\r\n",
  "NATS/1.0\r\nno colon\r\n\r\n",
  "NATS/1.0\r\nname: \u0001\u0002\u00ff\r\n\r\n",
  "NATS/1.0\r\nJetrpc-Entry: end x y\r\n bad: folded\r\n\r\n",
  "NATS/1.0 999 Nonsense\r\nbad name: x\r\n\r\n",
];

/** Messages that the rights of a client allow, although no client of ours sends them. */
export const poisonFaults: FaultSource = (random, { servers, binding }) => {
  const { prefix, methods } = binding;
  const server = random.pick(servers);
  const id = `poison-${random.between(1, 2 ** 30)}`;
  const durable = [...methods.values()].filter(({ delivery }) => delivery === "durable");
  const method = random.pick(durable);
  const queue = random.pick(method.queues).subject;
  const call = `${method.desc.name}._._.${id}`;
  const request = toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind: Kind.QUICK }));
  const poisoned = { headers: random.pick(blocks), payload: request };
  const log = { ...poisoned, subject: `${prefix}.log.${call}.entry` };
  const sound = { subject: `${queue}._._.${id}`, headers: "", payload: request };
  return [
    {
      name: "poisoned headers of a request",
      run: () => publish(server, [{ ...poisoned, subject: sound.subject }]),
    },
    {
      name: "poisoned headers of a log",
      run: () => publish(server, mixed(random, [log, sound])),
    },
    {
      name: "poisoned headers of a direct call",
      run: () => publish(server, [{ ...poisoned, subject: `${prefix}.rpc.Ask`, reply: "answer" }]),
    },
    {
      name: "poisoned headers of a direct call",
      run: () => publish(server, [{ ...poisoned, subject: `${prefix}.cancel.Work` }]),
    },
  ];
};

function mixed<T>(random: Random, [first, second]: readonly [T, T]): T[] {
  return random.chance(0.5) ? [first, second] : [second, first];
}

interface Raw {
  readonly subject: string;
  readonly reply?: string;
  /** A whole block, or nothing. */
  readonly headers: string;
  readonly payload: Uint8Array;
}

/** Publishes as it stands: no library would. A server that is down gets nothing. */
async function publish({ port }: NatsServer, messages: readonly Raw[]): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const options = { verbose: false, pedantic: false, headers: true };
  socket.write(`CONNECT ${JSON.stringify(options)}\r\n`);
  for (const { subject, reply = "", headers, payload } of messages) {
    const head = Buffer.from(headers, "latin1");
    const sizes = headers ? [head.length, head.length + payload.length] : [payload.length];
    const words = [headers ? "HPUB" : "PUB", subject, reply, ...sizes].filter(
      (word) => word !== "",
    );
    socket.write(`${words.join(" ")}\r\n`);
    socket.write(Buffer.concat([head, payload, Buffer.from("\r\n")]));
  }
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.end("PING\r\n");
  socket.setTimeout(5_000, () => socket.destroy());
  socket.resume();
  await closed;
}
