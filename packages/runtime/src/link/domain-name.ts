import { Code, ConnectError } from "@connectrpc/connect";

/** Checks the name of a JetStream domain. Throws Code.InvalidArgument. */
export function checkDomain(domain: string): string {
  if (!/^[^\s.*>\p{Cc}]+$/u.test(domain)) {
    throw new ConnectError(
      `JetStream domain "${domain}" must be one token, without dots, spaces, "*" and ">": correct JETRPC_DOMAIN, or domain`,
      Code.InvalidArgument,
    );
  }
  return domain;
}
