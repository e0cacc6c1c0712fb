import { TransportProvider, useQuery } from "@connectrpc/connect-query";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { renderHook, waitFor } from "@testing-library/react";
import { type PropsWithChildren, StrictMode } from "react";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { useNats as provideNats } from "../../runtime/test/support.js";
import { watchReact } from "./react.js";

const nats = provideNats();
watchReact();

test("connect-query reads a direct method over the transport of a connection", async () => {
  const connection = await nats.connect({ as: "client" });
  await nats.worker({ get: ({ text }) => ({ text: `${text}!` }) });
  const queries = new QueryClient();
  const wrapper = ({ children }: PropsWithChildren) => (
    <StrictMode>
      <TransportProvider transport={connection.transport}>
        <QueryClientProvider client={queries}>{children}</QueryClientProvider>
      </TransportProvider>
    </StrictMode>
  );
  const { result } = renderHook(() => useQuery(TestService.method.get, { text: "x" }), { wrapper });
  await waitFor(() => expect(result.current.data?.text).toBe("x!"), { timeout: 60_000 });
  queries.clear();
});
