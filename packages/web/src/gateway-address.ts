import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Throws InvalidArgument for what is no address of a gateway: it is told where it was written,
 * not by each call.
 */
export function checkGatewayAddress(url: string): void {
  const written = `"${url}" is no address of a gateway: `;
  if (!URL.canParse(url)) {
    // A page may give a path, which a program that renders it has no origin for.
    if (url !== "" && !/^[./]/.test(url)) {
      throw new ConnectError(`${written}write https://${url}`, Code.InvalidArgument);
    }
    return;
  }
  const { protocol, username, password, search, hash } = new URL(url);
  if (/^(?:wss?|nats|tls):$/.test(protocol)) {
    const mend = "write https://…, or connect to NATS by createConnection()";
    throw new ConnectError(written + mend, Code.InvalidArgument);
  }
  if (!/^https?:$/.test(protocol)) {
    throw new ConnectError(`${written}it begins with https:// or http://`, Code.InvalidArgument);
  }
  if (username || password) {
    const mend = "leave out user and password, and give a token";
    // The password is not to be logged.
    throw new ConnectError(`the address of a gateway has a user: ${mend}`, Code.InvalidArgument);
  }
  if (search || hash) {
    throw new ConnectError(`${written}leave out what begins with ? or #`, Code.InvalidArgument);
  }
}
