import { ask } from "./ask.js";
import type { FaultSource } from "./fault.js";

/** Leaders of streams and consumers that step down. */
export const leaderFaults: FaultSource = (_, { servers, binding }) => {
  const { stream, logStream, laterStream, payloadBucket, methods } = binding;
  if (servers.length === 1) {
    return [];
  }
  const consumers = [...methods.values()].map(({ consumer }) => `${stream}.${consumer}`);
  return [
    ...[stream, logStream, laterStream, `OBJ_${payloadBucket}`].map((name) => `STREAM ${name}`),
    ...consumers.map((name) => `CONSUMER ${name}`),
  ].map((what) => ({
    name: "leader step-down",
    needsServers: true,
    run: async () => {
      const api = what.replace(" ", ".LEADER.STEPDOWN.");
      await ask(servers, `$JS.API.${api}`);
    },
  }));
};
