package hub;

import static hub.Emulator.OWNER;
import static hub.Emulator.REGISTRY;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.auth.AuthenticationType;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubConflictException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubPreconditionFailedException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceConnectionState;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;

/** RegistryClient: identities, what proves them, the ETags that guard them. Version 2 of the SDK has no bulk calls. */
class RegistryTest {
    @Test
    void a_device_is_created_read_updated_and_deleted() throws Exception {
        String id = newId();
        Device created = REGISTRY.addDevice(new Device(id));
        assertEquals(DeviceStatus.Enabled, created.getStatus());
        assertEquals(DeviceConnectionState.Disconnected, created.getConnectionState());

        Device read = REGISTRY.getDevice(id);
        assertEquals(created.getPrimaryKey(), read.getPrimaryKey());
        assertEquals(created.getGenerationId(), read.getGenerationId());

        read.setStatus(DeviceStatus.Disabled);
        Device updated = REGISTRY.updateDevice(read);
        assertEquals(DeviceStatus.Disabled, updated.getStatus());
        assertNotEquals(created.getETag(), updated.getETag());
        assertEquals(created.getPrimaryKey(), updated.getPrimaryKey());

        REGISTRY.removeDevice(id);
        var missing = assertThrows(IotHubNotFoundException.class, () -> REGISTRY.getDevice(id));
        assertTrue(missing.getMessage().startsWith("ErrorCode:DeviceNotFound;"), missing.getMessage());
    }

    /** Unlike the other SDKs this one never leaves the making of keys to the hub: it sends two of 16 bytes. */
    @Test
    void the_keys_given_are_kept_until_others_are() throws Exception {
        Device device = new Device(newId());
        String primary = device.getPrimaryKey();
        assertEquals(primary, REGISTRY.addDevice(device).getPrimaryKey());

        device.getSymmetricKey().setPrimaryKey(key(64));
        assertEquals(key(64), REGISTRY.updateDevice(device).getPrimaryKey());
        device.getSymmetricKey().setPrimaryKey(key(65));
        assertThrows(IotHubBadFormatException.class, () -> REGISTRY.updateDevice(device));
        assertEquals(key(64), REGISTRY.getDevice(device.getDeviceId()).getPrimaryKey());
    }

    @Test
    void thumbprints_and_authorities_are_kept_in_place_of_keys() throws Exception {
        Device selfSigned = new Device(newId(), AuthenticationType.SELF_SIGNED);
        selfSigned.setThumbprint("A".repeat(40), "B".repeat(64));
        selfSigned = REGISTRY.addDevice(selfSigned);
        assertEquals(AuthenticationType.SELF_SIGNED, selfSigned.getAuthenticationType());
        assertEquals("A".repeat(40), selfSigned.getPrimaryThumbprint());
        assertEquals("B".repeat(64), selfSigned.getSecondaryThumbprint());

        Device byAuthority = REGISTRY.addDevice(new Device(newId(), AuthenticationType.CERTIFICATE_AUTHORITY));
        assertEquals(AuthenticationType.CERTIFICATE_AUTHORITY, byAuthority.getAuthenticationType());
        assertNull(byAuthority.getPrimaryThumbprint());
    }

    /** All but {@code %#?}: the SDK puts an id into the path as it stands. */
    @Test
    void ids_with_every_legal_character_that_needs_no_escape_name_what_they_say() throws Exception {
        String id = "-:.+_*!(),=@;$'" + newId();
        REGISTRY.addDevice(new Device(id));
        assertEquals(id, REGISTRY.getDevice(id).getDeviceId());
        REGISTRY.addModule(new Module(id, id));
        assertEquals(id, REGISTRY.getModule(id, id).getId());
        REGISTRY.removeDevice(id);
    }

    @Test
    void an_id_that_is_none_is_refused() {
        for (String id : List.of("with&ampersand", "x".repeat(129))) {
            assertThrows(IotHubBadFormatException.class, () -> REGISTRY.addDevice(new Device(id)), id);
        }
    }

    @Test
    void creating_a_device_twice_conflicts_and_changes_nothing() throws Exception {
        Device device = newDevice();
        var conflict = assertThrows(
                IotHubConflictException.class, () -> REGISTRY.addDevice(new Device(device.getDeviceId())));
        assertTrue(conflict.getMessage().startsWith("ErrorCode:DeviceAlreadyExists;"), conflict.getMessage());
        assertEquals(device.getPrimaryKey(), REGISTRY.getDevice(device.getDeviceId()).getPrimaryKey());
    }

    @Test
    void only_the_current_etag_deletes_a_device() throws Exception {
        Device stale = newDevice();
        Device current = REGISTRY.updateDevice(REGISTRY.getDevice(stale.getDeviceId()));
        assertThrows(IotHubPreconditionFailedException.class, () -> REGISTRY.removeDevice(stale));
        REGISTRY.removeDevice(current);
        assertThrows(IotHubNotFoundException.class, () -> REGISTRY.removeDevice(current));
    }

    @Test
    void a_module_is_created_read_updated_listed_and_deleted() throws Exception {
        String device = newDevice().getDeviceId();
        Module created = REGISTRY.addModule(new Module(device, "module01"));
        assertThrows(IotHubConflictException.class, () -> REGISTRY.addModule(new Module(device, "module01")));

        Module updated = REGISTRY.updateModule(REGISTRY.getModule(device, "module01"));
        assertEquals(created.getPrimaryKey(), updated.getPrimaryKey());
        List<Module> listed = REGISTRY.getModulesOnDevice(device);
        assertEquals(List.of("module01"), listed.stream().map(Module::getId).toList());

        assertThrows(IotHubPreconditionFailedException.class, () -> REGISTRY.removeModule(created));
        REGISTRY.removeModule(updated);
        var missing = assertThrows(IotHubNotFoundException.class, () -> REGISTRY.getModule(device, "module01"));
        assertTrue(missing.getMessage().startsWith("ErrorCode:ModuleNotFound;"), missing.getMessage());
    }

    @Test
    void a_module_needs_its_device() {
        var missing = assertThrows(
                IotHubNotFoundException.class, () -> REGISTRY.addModule(new Module(newId(), "module01")));
        assertTrue(missing.getMessage().startsWith("ErrorCode:DeviceNotFound;"), missing.getMessage());
    }

    @Test
    void a_connection_string_with_a_wrong_key_or_of_no_policy_opens_nothing() {
        String wrongKey = OWNER.replaceFirst("SharedAccessKey=.*", "SharedAccessKey=d3Jvbmcga2V5IG9mIG93bmVy");
        assertThrows(IotHubUnauthorizedException.class, () -> new RegistryClient(wrongKey).getDevice("any"));
        String noPolicy = OWNER.replaceFirst("SharedAccessKeyName=[^;]*", "SharedAccessKeyName=nobody");
        assertThrows(IotHubUnauthorizedException.class, () -> new RegistryClient(noPolicy).getDevice("any"));
    }

    private static String key(int bytes) {
        return Base64.getEncoder().encodeToString(new byte[bytes]);
    }
}
