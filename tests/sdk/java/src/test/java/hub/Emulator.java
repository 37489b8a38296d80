package hub;

import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.registry.RegistryIdentity;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.UUID;

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
}
