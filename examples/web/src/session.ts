import type { ClientConnection } from "@jetrpc/runtime";
import { connectGateway } from "@jetrpc/web";
import { createImageClient, type ImageClient } from "@jetrpc-examples/image-v1-client";
import { createPdfClient, type PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { watchedFetch } from "./connection-state.js";

/** A user who has logged in. */
export interface Session {
  readonly user: string;
  readonly pdf: PdfClient;
  readonly image: ImageClient;
  readonly connection: ClientConnection;
  /** Whether a worker takes calls of a service; undefined when that cannot be told now. */
  isServed(service: string): Promise<boolean | undefined>;
}

export const users = [
  { id: "ada", name: "Ada" },
  { id: "grace", name: "Grace" },
];

/** Logs a user in. Throws when the server refuses, or is away. */
export async function logIn(user: string): Promise<Session> {
  let { gateway, token } = await ask(user);
  let isFirst = true;
  const connection = connectGateway(gateway, {
    // Asked again when the gateway refuses it: then its time is over.
    async token() {
      if (!isFirst) {
        ({ token } = await ask(user));
      }
      isFirst = false;
      return token;
    },
    fetch: watchedFetch,
  });
  return {
    user,
    connection,
    pdf: createPdfClient(connection),
    image: createImageClient(connection),
    async isServed(service) {
      // It shows the page that the gateway is there again, too.
      const answer = await watchedFetch(`${gateway}/grpc.health.v1.Health/Check`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
        body: JSON.stringify({ service }),
      }).catch(() => undefined);
      if (answer?.status === 404) {
        // It never had a worker.
        return false;
      }
      return answer?.ok ? (await answer.json()).status === "SERVING" : undefined;
    },
  };
}

async function ask(user: string): Promise<{ gateway: string; token: string }> {
  const response = await fetch(`/login?user=${user}`).catch((cause) => {
    throw new Error("The login cannot be reached. Try again in a moment.", { cause });
  });
  if (!response.ok) {
    throw new Error(
      response.status === 403
        ? "The login does not know this user."
        : `The login answers with an error, ${response.status}. Try again in a moment.`,
    );
  }
  return await response.json();
}
