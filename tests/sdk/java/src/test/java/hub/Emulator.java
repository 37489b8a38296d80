package hub;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceConnectionState;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.registry.RegistryIdentity;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/**
 * Where the hub is (scenarios/with-emulator says so in the environment), and the clients of its owner.
 *
 * <p>The host is named by its address: it is the one name of a local hub that has a dot, which the device side of
 * this SDK demands, and needs no resolver. The JVM checks it against the certificate's IP addresses.
 */
final class Emulator {
    static final String HOST_NAME = "127.0.0.1";
    static final String OWNER =
            System.getenv("IOTHUB_CONNECTION_STRING").replaceFirst("HostName=[^;]*", "HostName=" + HOST_NAME);

    /** Longest wait for something that must happen. */
    private static final long PATIENCE_S = 30;

    private static final HttpClient HTTP = HttpClient.newHttpClient();

    static final RegistryClient REGISTRY = new RegistryClient(OWNER);
    static final TwinClient TWINS = new TwinClient(OWNER);
    static final DirectMethodsClient METHODS = new DirectMethodsClient(OWNER);

    private Emulator() {}

    /** The name of a device no other test knows. */
    static String newId() {
        return "java-" + UUID.randomUUID();
    }

    /** A device no other test knows. */
    static Device newDevice() throws Exception {
        return REGISTRY.addDevice(new Device(newId()));
    }

    /** The connection string of a device or module with its primary key. */
    static String connectionString(RegistryIdentity identity) {
        String module = identity instanceof Module named ? "ModuleId=%s;".formatted(named.getId()) : "";
        return "HostName=%s;DeviceId=%s;%sSharedAccessKey=%s"
                .formatted(HOST_NAME, identity.getDeviceId(), module, identity.getPrimaryKey());
    }

    /** What the built-in event hub holds of a device, newest first. */
    static List<JsonObject> events(String device) throws Exception {
        return objects("/admin/events?device=" + device);
    }

    /** The connections a device has now. */
    static List<JsonObject> connections(String device) throws Exception {
        return objects("/admin/connections").stream()
                .filter(connection -> connection.get("deviceId").getAsString().equals(device))
                .toList();
    }

    /** What the journal holds of the connects of a device, newest first. */
    static List<JsonObject> connects(String device) throws Exception {
        return objects("/admin/journal?device=" + device).stream()
                .filter(entry -> entry.get("operation").getAsString().equals("Connect"))
                .toList();
    }

    /** Whether the registry has the device as connected. */
    static boolean isConnected(String device) throws Exception {
        return REGISTRY.getDevice(device).getConnectionState() == DeviceConnectionState.Connected;
    }

    /** The next element, which must come. */
    static <T> T next(BlockingQueue<T> queue) throws InterruptedException {
        T element = queue.poll(PATIENCE_S, TimeUnit.SECONDS);
        if (element == null) {
            throw new AssertionError("nothing came within %s s".formatted(PATIENCE_S));
        }
        return element;
    }

    /** Asks {@code observed} until it is true. */
    static void until(String what, Callable<Boolean> observed) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        while (!observed.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("%s: not within %s s".formatted(what, PATIENCE_S));
            }
        }
    }

    /** What the admin API answers to a request without a body. */
    static String admin(String method, String path) throws Exception {
        URI address = URI.create(System.getenv("IOTHUB_EMULATOR_ADMIN_URL") + path);
        var request = HttpRequest.newBuilder(address).method(method, BodyPublishers.noBody()).build();
        var response = HTTP.send(request, BodyHandlers.ofString());
        if (response.statusCode() / 100 != 2) {
            throw new AssertionError("%s: %s %s".formatted(address, response.statusCode(), response.body()));
        }
        return response.body();
    }

    private static List<JsonObject> objects(String path) throws Exception {
        return List.of(new Gson().fromJson(admin("GET", path), JsonObject[].class));
    }
}
