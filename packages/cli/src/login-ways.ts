import { UsageError } from "./exit-code.js";

/** Refuses more than one way to know who calls, of those that are named. Throws UsageError. */
export function checkOneWay(named: readonly (string | false)[]): void {
  const given = named.filter((each) => each !== false);
  if (given.length > 1) {
    throw new UsageError(`give ${given.join(" or ")}, and not both`);
  }
}

/** The options of JSON Web Tokens. */
interface JwtOptions {
  readonly jwks?: string | undefined;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
}

/** Refuses claims of JSON Web Tokens where none are taken. Throws UsageError. */
export function checkClaims(
  { jwks, issuer, audience }: JwtOptions,
  secret: string | undefined,
  secretName: string,
): void {
  if (jwks === undefined && secret === undefined && (issuer ?? audience) !== undefined) {
    throw new UsageError(
      `--issuer and --audience are of JSON Web Tokens: give --jwks, too, or ${secretName}`,
    );
  }
}
