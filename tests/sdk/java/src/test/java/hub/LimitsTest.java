package hub;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubTooManyDevicesException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubTooManyRequestsException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the clients make of a hub that lacks a feature or keeps its callers to a rate, each a hub of its own. */
class LimitsTest {
    @Test
    void a_hub_of_the_basic_tier_has_devices_but_no_twins_modules_and_methods() throws Exception {
        try (OwnHub hub = new OwnHub("--tier", "basic")) {
            RegistryClient registry = new RegistryClient(hub.owner);
            TwinClient twins = new TwinClient(hub.owner);
            assertEquals("basic", registry.addDevice(new Device("basic")).getDeviceId());
            Twin patch = new Twin("basic");
            patch.getTags().put("a", 1);
            for (Executable call : List.<Executable>of(
                    () -> twins.get("basic"),
                    () -> twins.patch(patch),
                    () -> registry.addModule(new Module("basic", "module01")),
                    () -> new DirectMethodsClient(hub.owner).invoke("basic", "any"))) {
                // The SDK's name for every 403.
                var refused = assertThrows(IotHubTooManyDevicesException.class, call);
                String code = "ErrorCode:OperationNotAvailableInCurrentTier;";
                assertTrue(refused.getMessage().startsWith(code), refused.getMessage());
            }
        }
    }

    @Test
    void a_hub_that_throttles_refuses_some_of_many_calls_at_once() throws Exception {
        ExecutorService callers = Executors.newFixedThreadPool(40);
        try (OwnHub hub = new OwnHub("--throttling")) {
            RegistryClient registry = new RegistryClient(hub.owner);
            registry.addDevice(new Device("busy"));
            List<Future<Device>> calls = new ArrayList<>();
            for (int call = 0; call < 200; call++) {
                calls.add(callers.submit(() -> registry.getDevice("busy")));
            }
            int refusals = 0;
            for (Future<Device> call : calls) {
                try {
                    assertEquals("busy", call.get().getDeviceId());
                } catch (ExecutionException refused) {
                    assertInstanceOf(IotHubTooManyRequestsException.class, refused.getCause());
                    String message = refused.getCause().getMessage();
                    assertTrue(message.startsWith("ErrorCode:ThrottlingException;"), message);
                    refusals++;
                }
            }
            assertTrue(0 < refusals && refusals < 200, "%d of 200 calls are refused".formatted(refusals));
        } finally {
            callers.shutdownNow();
        }
    }
}
