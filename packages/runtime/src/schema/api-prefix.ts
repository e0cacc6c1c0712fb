/**
 * The first tokens of the subjects of JetStream's API in a domain, a dot at the end. A server
 * maps the prefix of its own domain, `own`, before it checks permissions, and then names other
 * subjects: so that domain is not named.
 */
export function apiPrefix(domain: string | undefined, own?: string): string {
  return domain && domain !== own ? `$JS.${domain}.API.` : "$JS.API.";
}
