import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { GreetWorker } from "../gen/greet/v1/index.js";

const words = ["Dear", "it", "was", "a", "pleasure"];

/** The methods of the contract. */
export const greeter: GreetWorker = {
  hello: ({ name }) => ({ greeting: `Hello, ${name}!` }),

  letter: async ({ name }, context) => {
    if (name === "") {
      throw new ConnectError("name: to whom?", Code.InvalidArgument);
    }
    for (const [done, word] of words.entries()) {
      context.progress({ done, total: words.length, message: word });
      // The signal fires when the call is canceled.
      await delay(500, undefined, { signal: context.signal });
    }
    return { letter: `Dear ${name}, it was a pleasure (attempt ${context.attempt}).` };
  },
};
