package hub;

import static hub.Emulator.METHODS;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.connectionString;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.microsoft.azure.sdk.iot.service.exceptions.ErrorCodeDescription;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubGatewayTimeoutException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** DirectMethodsClient. A payload of null is left out of the call; the device sees null all the same. */
class DirectMethodTest {
    @Test
    void a_device_is_sent_every_payload_as_it_is_and_answers_with_any() throws Exception {
        Device device = newDevice();
        try (var answering = new AnsweringDevice(connectionString(device))) {
            for (Object payload : Arrays.asList(
                    null, "", "foo", "grüße", 1, true, Map.of(), Map.of("k1", "v1"), List.of("a", Map.of()),
                    "x".repeat(100 * 1024))) {
                DirectMethodResponse response = METHODS.invoke(device.getDeviceId(), "echo", options(payload, 30, 0));
                assertEquals(200, response.getStatus());
                assertEquals(new Gson().toJsonTree(payload), response.getPayloadAsJsonElement());
            }
        }
    }

    @Test
    void the_status_of_a_device_is_no_error_of_the_hub() throws Exception {
        Device device = newDevice();
        try (var answering = new AnsweringDevice(connectionString(device))) {
            for (int status : new int[] {200, 404, 500, -1}) {
                DirectMethodResponse response = METHODS.invoke(device.getDeviceId(), "status", options(status, 30, 0));
                assertEquals(status, response.getStatus());
                assertTrue(response.getPayloadAsJsonElement().isJsonNull(), response.getPayloadAsJsonString());
            }
        }
    }

    @Test
    void a_module_answers_in_its_own_name() throws Exception {
        Device device = newDevice();
        Module module = REGISTRY.addModule(new Module(device.getDeviceId(), "module01"));
        try (var answering = new AnsweringDevice(connectionString(module))) {
            DirectMethodResponse response =
                    METHODS.invoke(device.getDeviceId(), "module01", "echo", options("hello", 30, 0));
            assertEquals("hello", response.getPayload(String.class));
            var offline = assertThrows(
                    IotHubNotFoundException.class,
                    () -> METHODS.invoke(device.getDeviceId(), "echo", options("hello", 30, 0)));
            assertEquals(404103, offline.getErrorCode());
        }
    }

    @Test
    void a_device_answers_twenty_calls_at_once() throws Exception {
        Device device = newDevice();
        ExecutorService callers = Executors.newFixedThreadPool(20);
        try (var answering = new AnsweringDevice(connectionString(device))) {
            List<Future<DirectMethodResponse>> calls = new ArrayList<>();
            for (int number = 0; number < 20; number++) {
                DirectMethodRequestOptions options = options(number, 30, 0);
                calls.add(callers.submit(() -> METHODS.invoke(device.getDeviceId(), "echo", options)));
            }
            for (int number = 0; number < 20; number++) {
                assertEquals(number, calls.get(number).get().getPayload(Integer.class));
            }
        } finally {
            callers.shutdownNow();
        }
    }

    @Test
    void a_device_is_called_although_it_connects_after_the_caller_asked() throws Exception {
        Device device = newDevice();
        ExecutorService caller = Executors.newSingleThreadExecutor();
        try {
            Future<DirectMethodResponse> call =
                    caller.submit(() -> METHODS.invoke(device.getDeviceId(), "echo", options("late", 30, 20)));
            try (var answering = new AnsweringDevice(connectionString(device))) {
                assertEquals("late", call.get().getPayload(String.class));
            }
        } finally {
            caller.shutdownNow();
        }
    }

    @Test
    void a_device_that_is_not_connected_is_not_called() throws Exception {
        String device = newDevice().getDeviceId();
        assertRefused(IotHubNotFoundException.class, 404103, device, options(null, 30, 0), "any");
        assertRefused(IotHubNotFoundException.class, 404103, device, options(null, 30, 1), "any");
    }

    @Test
    void a_device_that_does_not_answer_or_leaves_fails_the_call() throws Exception {
        Device device = newDevice();
        try (var answering = new AnsweringDevice(connectionString(device))) {
            String id = device.getDeviceId();
            assertRefused(IotHubGatewayTimeoutException.class, 504101, id, options(null, 5, 0), "ignore");
            assertRefused(IotHubNotFoundException.class, 404104, id, options(null, 30, 0), "leave");
        }
    }

    @Test
    void what_does_not_exist_is_not_called() throws Exception {
        var unknown = assertRefused(IotHubNotFoundException.class, 404001, newId(), options(null, 30, 0), "any");
        assertEquals(ErrorCodeDescription.DeviceNotFound, unknown.getErrorCodeDescription());
        String device = newDevice().getDeviceId();
        var module = assertThrows(
                IotHubNotFoundException.class,
                () -> METHODS.invoke(device, "nothing", "any", options(null, 30, 0)));
        assertEquals(404010, module.getErrorCode(), module.getMessage());
    }

    private static <E extends IotHubException> E assertRefused(
            Class<E> expected, int code, String device, DirectMethodRequestOptions options, String method) {
        E refusal = assertThrows(expected, () -> METHODS.invoke(device, method, options));
        assertEquals(code, refusal.getErrorCode(), refusal.getMessage());
        return refusal;
    }

    private static DirectMethodRequestOptions options(Object payload, int responseTimeout, int connectTimeout) {
        return DirectMethodRequestOptions.builder()
                .payload(payload)
                .methodResponseTimeoutSeconds(responseTimeout)
                .methodConnectTimeoutSeconds(connectTimeout)
                .build();
    }
}
