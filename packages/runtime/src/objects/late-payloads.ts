import type { Link } from "../link/link.js";
import type { Payloads } from "../link/payloads.js";
import { Header } from "../message/header.js";
import { LateCode } from "../message/late-code.js";

/** Keeps payloads in a {@link PayloadStore}, whose code it loads with the first of them. */
export function latePayloads(link: Link): Payloads {
  const code = new LateCode("large payloads", async () => {
    const { PayloadStore } = await import("./payload-store.js");
    return new PayloadStore(link);
  });
  return {
    putDirect: async (method, payload) => (await code.get()).putDirect(method, payload),
    put: async (service, name, payload, options) =>
      (await code.get()).put(service, name, payload, options),
    get: async (service, reference, space, maxBytes) =>
      (await code.get()).get(service, reference, space, maxBytes),
    async load(service, message, space, maxBytes) {
      const reference = message.headers?.get(Header.payload);
      return reference ? (await code.get()).get(service, reference, space, maxBytes) : message.data;
    },
    delete(service, reference) {
      // Where this fails, the server removes it later.
      code.get().then(
        (store) => store.delete(service, reference),
        () => undefined,
      );
    },
  };
}
