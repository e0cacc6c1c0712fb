import { callKeyOf } from "../call-key.js";
import { ask } from "./ask.js";
import { deleteStream } from "./delete-stream.js";
import type { FaultSource } from "./fault.js";

/** Streams and consumers that an administrator deletes while everything works. */
export const removalFaults: FaultSource = (random, { servers, binding, removed }) => {
  const { stream, logStream, deadStream, progressStream, laterStream, methods } = binding;
  const durable = [...methods.values()].filter(({ delivery }) => delivery === "durable");
  const consumers = durable.flatMap(({ queues, consumer }) => [
    ...queues.map((queue) => `${stream}.${queue.consumer}`),
    `${laterStream}.${consumer}`,
  ]);
  const consumer = random.pick(consumers);
  const remove = (name: string, note: (call: string) => void) => async () => {
    for (const subject of await deleteStream(servers, name)) {
      note(callKeyOf(subject));
    }
  };
  return [
    {
      name: "deleted log stream",
      needsServers: true,
      run: remove(logStream, (call) => removed.logs.add(call)),
    },
    {
      name: "deleted dead-letter stream",
      needsServers: true,
      run: remove(deadStream, (call) => removed.letters.add(call)),
    },
    {
      name: "deleted progress stream",
      needsServers: true,
      run: remove(progressStream, () => undefined),
    },
    {
      name: "deleted consumer",
      needsServers: true,
      run: async () => void (await ask(servers, `$JS.API.CONSUMER.DELETE.${consumer}`)),
    },
  ];
};
