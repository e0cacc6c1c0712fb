import type { ServerResponse } from "node:http";
import { SignJWT } from "jose";

/** Whom the login knows. A real app asks for a password, or an identity provider. */
const users = new Set(["ada", "grace"]);

/** How long a token is good for. The page asks for another one when it is refused. */
const tokenTime = "15m";

/** Answers a login, `/login?user=ada`, with a token for the gateway, and where that is. */
export async function answerLogin(
  path: string,
  { secret, gateway }: { secret: string; gateway: string },
  response: ServerResponse,
): Promise<void> {
  const user = new URL(path, "http://host").searchParams.get("user") ?? "";
  if (!users.has(user)) {
    response.writeHead(403).end();
    return;
  }
  const token = await new SignJWT()
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(user)
    .setExpirationTime(tokenTime)
    .sign(new TextEncoder().encode(secret));
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Cache-Control", "no-store");
  response.end(JSON.stringify({ gateway, token }));
}
