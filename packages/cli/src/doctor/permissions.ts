import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { findRefused, type Grant, type Role } from "@jetrpc/runtime/operator";
import { error, type Finding, ok, warning } from "./finding.js";

/** The roles that may need credentials. */
export const roles: readonly Role[] = ["client", "worker", "administrator", "operator", "observer"];

/** The refused part of a role: all of it, or some of its methods. */
interface Lack {
  readonly role: Role;
  /** For what nothing is refused; a whole role has no methods. */
  readonly can: readonly string[];
  readonly refused: ReadonlyMap<string, readonly string[]>;
}

/**
 * Tries what the roles do, and tells which of them these credentials can fill: as an
 * error when they lack something of the role and methods that are asked for, or fill
 * no role; as a warning when they lack some of the methods of the role.
 */
export async function checkPermissions(
  connection: Connection,
  service: DescService,
  wanted: Role | undefined,
  methods?: readonly string[],
): Promise<Finding> {
  const { typeName } = service;
  const mend = "ask for credentials of that role: `jetrpc permissions` writes them";
  if (wanted) {
    const lack = await findLack(connection, service, wanted, methods);
    if (lack.refused.size === 0) {
      return ok(`${typeName}: these credentials do for the ${nameOf(lack, methods)}`);
    }
    const text = `${typeName}: these credentials are refused what ${needs(lack)}`;
    return lack.can.length > 0 && !methods
      ? warning(
          `${typeName}: these credentials do for the ${wanted} of ${lack.can.join(", ")}, and not of ${[...lack.refused.keys()].join(", ")}`,
          "name the methods that they are for by --method, or ask for credentials of all of them: `jetrpc permissions` writes them",
        )
      : error(text, mend);
  }
  const lacks: Lack[] = [];
  for (const role of roles) {
    lacks.push(await findLack(connection, service, role, undefined));
  }
  const can = lacks.filter((lack) => lack.refused.size === 0 || lack.can.length > 0);
  return can.length > 0
    ? ok(
        `${typeName}: these credentials do for the ${can.map((lack) => nameOf(lack, lack.refused.size > 0 ? lack.can : undefined)).join(", the ")}`,
      )
    : error(`${typeName}: these credentials do for nobody: ${lacks.map(needs).join("; ")}`, mend);
}

async function findLack(
  connection: Connection,
  service: DescService,
  role: Role,
  methods: readonly string[] | undefined,
): Promise<Lack> {
  const { owner } = connection;
  const grant: Grant = { role, service, ...(role === "client" && { owner }) };
  const parts: (readonly [string, Grant])[] =
    role === "client" || role === "worker"
      ? (methods ?? service.methods.map(({ name }) => name)).map((name) => [
          name,
          { ...grant, methods: [name] },
        ])
      : [["", grant]];
  const can: string[] = [];
  const refused = new Map<string, string[]>();
  for (const [name, part] of parts) {
    const lacking = await findRefused(connection, [part]);
    if (lacking.length > 0) {
      refused.set(name, lacking);
    } else if (name) {
      can.push(name);
    }
  }
  return { role, can, refused };
}

function nameOf({ role }: Lack, methods: readonly string[] | undefined): string {
  return methods ? `${role} of ${methods.join(", ")}` : role;
}

function needs({ role, refused }: Lack): string {
  return `the ${role} needs: ${[...new Set([...refused.values()].flat())].join(", ")}`;
}
