import { type ReactNode, useEffect, useRef } from "react";
import { Role, Severity } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { useConsoleIsSilent } from "./connection.js";
import { countText } from "./format.js";
import { Link } from "./link.js";
import { goTo, pathWith, usePlace } from "./location.js";
import { useOverview } from "./overview.js";
import { serverText } from "./server-text.js";
import { useSession } from "./session.js";
import { Clock } from "./time.js";
import { dateOf } from "./timestamps.js";

/** What is around every page: where one can go, who looks, and whether anything is lost. */
export function Frame({ children }: { children: ReactNode }) {
  const { path } = usePlace();
  const { value: overview } = useOverview();
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page is read from its beginning
  useEffect(() => {
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [path]);
  useEffect(() => {
    const find = (event: KeyboardEvent) => {
      const isTyping = (event.target as HTMLElement).matches("input, textarea, select");
      if (event.key === "/" && !isTyping && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        document.querySelector<HTMLInputElement>(".find input")?.focus();
      }
    };
    addEventListener("keydown", find);
    return () => removeEventListener("keydown", find);
  }, []);
  const failed = overview?.methods.reduce((sum, each) => sum + Number(each.failed ?? 0), 0) ?? 0;
  const wrong = overview?.problems.filter(({ severity }) => severity !== Severity.NOTE).length ?? 0;
  const isHere = (...paths: string[]) => (paths.includes(path) ? ("page" as const) : undefined);
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="side">
        <Link className="brand" href="/">
          <img src="/icon.svg" alt="" />
          jetrpc console
        </Link>
        <FindCall />
        <nav aria-label="Pages">
          <ul>
            <li>
              <Link href="/" aria-current={isHere("/", "/method")}>
                Overview
                {wrong > 0 && <Badge count={wrong} what="problems" />}
              </Link>
            </li>
            <li>
              <Link href="/calls" aria-current={isHere("/calls", "/call")}>
                Calls
              </Link>
            </li>
            <li>
              <Link href="/dead-letters" aria-current={isHere("/dead-letters")}>
                Dead letters
                {failed > 0 && <Badge count={failed} what="dead letters" />}
              </Link>
            </li>
            <li>
              <Link href="/workers" aria-current={isHere("/workers")}>
                Workers
              </Link>
            </li>
            <li>
              <Link href="/infrastructure" aria-current={isHere("/infrastructure")}>
                Infrastructure
              </Link>
            </li>
            <li>
              <Link href="/acts" aria-current={isHere("/acts")}>
                Log of acts
              </Link>
            </li>
          </ul>
        </nav>
        <Who />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <Lost />
        {children}
      </main>
    </div>
  );
}

function Badge({ count, what }: { count: number; what: string }) {
  return (
    <span className="badge bad">
      {count > 9_999 ? `${Math.floor(count / 1_000)}k` : countText(count)}
      <span className="hidden"> {what}</span>
    </span>
  );
}

function FindCall() {
  return (
    <search className="find">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const input = event.currentTarget.elements.namedItem("id") as HTMLInputElement;
          goTo(pathWith("/calls", { id: input.value.trim() }));
          input.value = "";
        }}
      >
        <label>
          <span className="hidden">Find a call by the beginning of its id, or by a text</span>
          <input name="id" type="search" placeholder="Find a call  ( / )" autoComplete="off" />
        </label>
      </form>
    </search>
  );
}

function Who() {
  const { user, role, masked, canLogOut, server } = useSession();
  return (
    <div className="who">
      <span>
        {user}
        {role === Role.READ && ", may look only"}
        {masked && ", values hidden"}
      </span>
      {server && (
        <span className="of-server" title={server.name}>
          {serverText(server.name) || server.address}
          {server.version && `, NATS ${server.version}`}
        </span>
      )}
      {canLogOut && (
        <form method="post" action="/logout">
          <button type="submit" className="quiet">
            Log out
          </button>
        </form>
      )}
    </div>
  );
}

/** Says when what is shown is not live. It goes on by itself. */
function Lost() {
  const isSilent = useConsoleIsSilent();
  const { value: overview } = useOverview();
  const { schemaProblem } = useSession();
  const at = dateOf(overview?.at);
  const isOff = overview?.connected === false;
  return (
    <div role="status" className="lost">
      {isSilent ? (
        <p className="notice bad">
          The console does not answer: its process, or the network. This page goes on by itself when
          it is back.{" "}
          {at && (
            <>
              Figures are of <Clock at={at} />.
            </>
          )}
        </p>
      ) : (
        isOff && (
          <p className="notice bad">
            The console has no connection to NATS and tries again and again.{" "}
            {at && (
              <>
                Figures are of <Clock at={at} />.
              </>
            )}
          </p>
        )
      )}
      {schemaProblem && !isSilent && <p className="notice warn">{schemaProblem}</p>}
    </div>
  );
}
