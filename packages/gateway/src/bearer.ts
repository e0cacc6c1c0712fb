import { Code, ConnectError } from "@connectrpc/connect";

/** The token of `Authorization: Bearer`; undefined when there is none. */
export function bearerOf(headers: Headers): string | undefined {
  return /^Bearer +([\w.~+/=-]+)$/i.exec(headers.get("authorization") ?? "")?.[1];
}

/** How OpenAPI names such a token. */
export function bearerScheme(bearerFormat?: string): Record<string, object> {
  return { bearer: { type: "http", scheme: "bearer", ...(bearerFormat && { bearerFormat }) } };
}

/** The error of a request whose token does not count. */
export function badToken(why: string, cause?: unknown): ConnectError {
  return new ConnectError(
    `the token is refused: ${why}`,
    Code.Unauthenticated,
    { "www-authenticate": 'Bearer error="invalid_token"' },
    undefined,
    cause,
  );
}
