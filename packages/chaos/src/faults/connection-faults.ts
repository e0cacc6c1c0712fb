import { setTimeout as delay } from "node:timers/promises";
import type { TcpProxy } from "../tcp-proxy.js";
import type { FaultSource } from "./fault.js";

/** Connections of one process that break, or carry nothing, or that late. */
export const connectionFaults: FaultSource = (random, { workers, clients }) => {
  const { proxies } = random.pick(random.chance(0.6) ? workers : clients);
  // Often longer than a worker waits for a word.
  const long = random.between(500, 9_000);
  const delayMs = random.between(20, 400);
  const all = (harm: (proxy: TcpProxy) => void) => async () => {
    proxies.forEach(harm);
    await delay(long);
    for (const proxy of proxies) {
      proxy.mend();
    }
  };
  return [
    {
      name: "cut connections",
      run: async () => {
        for (const proxy of proxies) {
          proxy.cut();
        }
      },
    },
    { name: "refused connections", run: all((proxy) => proxy.refuse()) },
    { name: "silent connections", run: all((proxy) => proxy.silence()) },
    { name: "slow connections", run: all((proxy) => proxy.slow(delayMs)) },
  ];
};
