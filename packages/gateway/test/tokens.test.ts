import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, expect, test } from "vitest";
import {
  type Authenticate,
  apiTokens,
  bearerJwt,
  createApiToken,
  hashApiToken,
  type Identity,
  ownerOf,
} from "../src/index.js";
import { postJson, useGateway } from "./support.js";

const { nats, gateway } = useGateway();
const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => servers.splice(0).map((server) => server.close()));

/** What an authenticator says of a request with such an Authorization. */
async function ask(
  authenticate: Authenticate,
  authorization?: string,
): Promise<Identity | Code | undefined> {
  const headers = new Headers(authorization === undefined ? {} : { authorization });
  try {
    return await authenticate({
      method: "POST",
      url: "/",
      headers,
      remoteAddress: undefined,
      responseHeaders: new Headers(),
    });
  } catch (error) {
    return ConnectError.from(error).code;
  }
}

const secret = "a secret of more than thirty-two bytes";
const secretKey = new TextEncoder().encode(secret);
const sign = (claims: JWTPayload, key: Parameters<SignJWT["sign"]>[0] = secretKey, alg = "HS256") =>
  new SignJWT({ exp: Math.floor(Date.now() / 1000) + 60, ...claims })
    .setProtectedHeader({ alg, kid: "one" })
    .sign(key);

test("a JWT that is signed by the secret shows its owner", async () => {
  const authenticate = bearerJwt({ secret });
  expect(await ask(authenticate, `Bearer ${await sign({ sub: "ada" })}`)).toEqual({ owner: "ada" });
  expect(await ask(authenticate)).toBeUndefined();
  expect(await ask(authenticate, "Basic YTpi")).toBeUndefined();
});

test("a JWT that is expired, unsigned, changed, early, or of others is refused", async () => {
  const authenticate = bearerJwt({ secret, issuer: "us", audience: "gateway" });
  const good = { sub: "ada", iss: "us", aud: "gateway" };
  const now = Math.floor(Date.now() / 1000);
  expect(await ask(authenticate, `Bearer ${await sign(good)}`)).toEqual({ owner: "ada" });
  const valid = await sign(good);
  const [head, , signature] = valid.split(".");
  const forged = Buffer.from(JSON.stringify({ ...good, sub: "eve", exp: now + 60 }));
  const bad = [
    await sign({ ...good, exp: now - 1 }),
    await sign({ ...good, nbf: now + 60 }),
    await sign({ ...good, iss: "them" }),
    await sign({ ...good, aud: "other" }),
    await sign({ iss: "us", aud: "gateway" }),
    await sign({ ...good, exp: undefined } as unknown as JWTPayload),
    await sign(good, new TextEncoder().encode("another secret of thirty-two bytes!")),
    await sign(good, new TextEncoder().encode(secret.padEnd(64, "x")), "HS512"),
    new UnsecuredJWT({ ...good, exp: now + 60 }).encode(),
    `${head}.${forged.toString("base64url")}.${signature}`,
    "a.b.c",
    "x",
  ];
  for (const token of bad) {
    expect([token, await ask(authenticate, `Bearer ${token}`)]).toEqual([
      token,
      Code.Unauthenticated,
    ]);
  }
});

test("a JWT is checked by the provider's public keys; by others, or by none, it is refused", async () => {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const stranger = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "ES256", use: "sig" };
  const server = createServer((_request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const authenticate = bearerJwt({
    jwks: `http://127.0.0.1:${port}/jwks.json`,
    identity: ({ sub, scope }) =>
      scope === undefined
        ? undefined
        : { owner: ownerOf(String(sub)), methods: String(scope).split(" ") },
  });
  const claims = { sub: "auth0|7", scope: "pdf.v1.PdfService" };
  expect(await ask(authenticate, `Bearer ${await sign(claims, privateKey, "ES256")}`)).toEqual({
    owner: ownerOf("auth0|7"),
    methods: ["pdf.v1.PdfService"],
  });
  const refused = [
    await sign({ sub: "ada" }, privateKey, "ES256"),
    await sign(claims, stranger.privateKey, "ES256"),
    // The public key as the secret of an HMAC.
    await sign(claims, new TextEncoder().encode(JSON.stringify(jwk)), "HS256"),
  ];
  for (const token of refused) {
    expect(await ask(authenticate, `Bearer ${token}`)).toBe(Code.Unauthenticated);
  }
  const away = bearerJwt({ jwks: "http://127.0.0.1:1/jwks.json" });
  const token = await sign(claims, privateKey, "ES256");
  expect(await ask(away, `Bearer ${token}`)).toBe(Code.Unavailable);
});

test("impossible options are refused at once", () => {
  const bad = [
    () => bearerJwt({}),
    () => bearerJwt({ secret, jwks: "https://example.com" }),
    () => bearerJwt({ secret: "short" }),
    () => bearerJwt({ jwks: "no url" }),
    () => apiTokens([{ sha256: "the token itself" }]),
  ];
  for (const make of bad) {
    expect(make).toThrow(ConnectError);
  }
});

test("tokens of our own are known by their digest", async () => {
  const token = createApiToken();
  const authenticate = apiTokens([
    { sha256: hashApiToken(token), owner: "shop", methods: ["a.B"] },
    { sha256: hashApiToken(createApiToken()), owner: "other" },
  ]);
  expect(await ask(authenticate, `Bearer ${token}`)).toEqual({ owner: "shop", methods: ["a.B"] });
  expect(await ask(authenticate)).toBeUndefined();
  for (const bad of [createApiToken(), hashApiToken(token), `${token}x`, token.slice(1)]) {
    expect(await ask(authenticate, `Bearer ${bad}`)).toBe(Code.Unauthenticated);
  }
});

test("two names never make one owner", () => {
  const names = ["ada", "_", "a.b", "a|b", "", "x".repeat(129), "ada@example.com", ownerOf("_")];
  const owners = names.map(ownerOf);
  expect(new Set(owners).size).toBe(names.length);
  for (const owner of owners) {
    expect(owner).toMatch(/^[A-Za-z0-9_=+@:-]{1,128}$/);
    expect(owner).not.toBe("_");
  }
  expect(ownerOf("ada")).toBe("ada");
});

test("a gateway serves who has a token, and nobody else", async () => {
  await nats.worker({ get: () => ({ text: "served" }) });
  const token = createApiToken();
  const { url } = await gateway({
    authenticate: apiTokens([{ sha256: hashApiToken(token), owner: "shop" }]),
  });
  const call = (headers: Record<string, string>) =>
    postJson(`${url}/test.v1.TestService/Get`, {}, headers);
  expect((await call({})).status).toBe(401);
  const refused = await call({ Authorization: `Bearer ${createApiToken()}` });
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toContain("invalid_token");
  expect((await call({ Authorization: `Bearer ${token}` })).status).toBe(200);
});
