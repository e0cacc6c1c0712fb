import { Code, ConnectError } from "@connectrpc/connect";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ActsPage } from "./acts-page.js";
import { CallPage } from "./call-page.js";
import { CallsPage } from "./calls-page.js";
import { consoleClient } from "./console-client.js";
import { DeadLettersPage } from "./dead-letters-page.js";
import { errorText } from "./error-text.js";
import { Frame } from "./frame.js";
import { InfrastructurePage } from "./infrastructure-page.js";
import { Link } from "./link.js";
import { usePlace } from "./location.js";
import { MethodPage } from "./method-page.js";
import { OverviewContext, useOverviewStream } from "./overview.js";
import { OverviewPage } from "./overview-page.js";
import { SessionContext } from "./session.js";
import { WorkersPage } from "./workers-page.js";

const pages: Record<string, () => ReactNode> = {
  "/": OverviewPage,
  "/calls": CallsPage,
  "/call": CallPage,
  "/method": MethodPage,
  "/dead-letters": DeadLettersPage,
  "/workers": WorkersPage,
  "/infrastructure": InfrastructurePage,
  "/acts": ActsPage,
};

export function App() {
  const { path } = usePlace();
  const { data: session, error } = useQuery({
    queryKey: ["session"],
    queryFn: ({ signal }) => consoleClient.getSession({}, { signal }),
    refetchInterval: 15_000,
  });
  if (error && ConnectError.from(error).code === Code.Unauthenticated) {
    return <LoggedOut />;
  }
  if (!session) {
    return error ? (
      <main className="alone">
        <h1>jetrpc console</h1>
        <p role="alert" className="notice bad">
          {errorText(error)}
        </p>
      </main>
    ) : (
      <main className="alone" aria-busy="true">
        <p className="soft">Opening the console…</p>
      </main>
    );
  }
  const Page = pages[path] ?? NotFound;
  return (
    <SessionContext value={session}>
      <Live hasOtherStream={path === "/call" || path === "/method"}>
        <Frame>
          <Page />
        </Frame>
      </Live>
    </SessionContext>
  );
}

function Live({ hasOtherStream, children }: { hasOtherStream: boolean; children: ReactNode }) {
  const overview = useOverviewStream(hasOtherStream);
  return <OverviewContext value={overview}>{children}</OverviewContext>;
}

function LoggedOut() {
  return (
    <main className="alone">
      <h1>Your session has ended</h1>
      <p>Log in again to go on. You come back to this page.</p>
      <p className="soft">
        A console without a login prints an address with a token when it starts: open that one.
      </p>
      <a
        className="button"
        href={`/login?${new URLSearchParams({ back: location.pathname + location.search })}`}
      >
        Log in
      </a>
    </main>
  );
}

function NotFound() {
  return (
    <div className="empty">
      <h1>There is no such page</h1>
      <p>
        <Link href="/">Go to the overview</Link>
      </p>
    </div>
  );
}
