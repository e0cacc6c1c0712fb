import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { ConsoleService } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { consoleAnswered, consoleIsSilent } from "./connection.js";

/** The server side of this page. */
export const consoleClient: Client<typeof ConsoleService> = createClient(
  ConsoleService,
  createConnectTransport({
    baseUrl: location.origin,
    fetch: async (input, init) => {
      try {
        const response = await fetch(input, init);
        consoleAnswered();
        return response;
      } catch (error) {
        if (!init?.signal?.aborted) {
          consoleIsSilent();
        }
        throw error;
      }
    },
  }),
);
