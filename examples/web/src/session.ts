import type { ClientConnection } from "@jetrpc/runtime";
import { connectGateway } from "@jetrpc/web";
import { createPdfClient, type PdfClient } from "@jetrpc-examples/pdf-v1-client";
import { watchedFetch } from "./connection-state.js";

/** A user who has logged in. */
export interface Session {
  readonly user: string;
  readonly pdf: PdfClient;
  readonly connection: ClientConnection;
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
  return { user, connection, pdf: createPdfClient(connection) };
}

async function ask(user: string): Promise<{ gateway: string; token: string }> {
  const response = await fetch(`/login?user=${user}`);
  if (!response.ok) {
    throw new Error(`the login answered ${response.status}`);
  }
  return await response.json();
}
