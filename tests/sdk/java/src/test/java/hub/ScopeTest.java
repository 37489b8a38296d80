package hub;

import static hub.Emulator.REGISTRY;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.twin.DeviceCapabilities;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** RegistryClient: edge devices, their scopes, and the devices under them. */
class ScopeTest {
    @Test
    void an_edge_device_has_a_scope_and_its_two_modules() throws Exception {
        Device edge = newEdgeDevice(List.of());
        assertTrue(edge.getScope().startsWith("ms-azure-iot-edge://" + edge.getDeviceId() + "-"), edge.getScope());
        assertTrue(REGISTRY.getDevice(edge.getDeviceId()).getCapabilities().isIotEdge());
        assertEquals(Set.of("$edgeAgent", "$edgeHub"), modules(edge));
        assertEquals(Set.of(), modules(newDevice()));
    }

    @Test
    void a_leaf_is_given_to_its_parent_by_scope_or_parent_scope() throws Exception {
        Device edge = newEdgeDevice(List.of());
        Device byScope = new Device(newId());
        byScope.setScope(edge.getScope());
        assertEquals(List.of(edge.getScope()), REGISTRY.addDevice(byScope).getParentScopes());

        Device byParent = new Device(newId());
        byParent.getParentScopes().add(edge.getScope());
        assertEquals(edge.getScope(), REGISTRY.addDevice(byParent).getScope());

        Device nested = newEdgeDevice(List.of(edge.getScope()));
        assertEquals(List.of(edge.getScope()), nested.getParentScopes());
        assertNotEquals(edge.getScope(), nested.getScope());
    }

    @Test
    void a_scope_of_no_edge_device_is_refused() {
        Device leaf = new Device(newId());
        leaf.setScope("ms-azure-iot-edge://nobody-1");
        var refused = assertThrows(IotHubBadFormatException.class, () -> REGISTRY.addDevice(leaf));
        assertTrue(refused.getMessage().startsWith("ErrorCode:InvalidDeviceScope;"), refused.getMessage());
    }

    private static Device newEdgeDevice(List<String> parents) throws Exception {
        Device edge = new Device(newId());
        edge.setCapabilities(new DeviceCapabilities());
        edge.getCapabilities().setIotEdge(true);
        edge.getParentScopes().addAll(parents);
        return REGISTRY.addDevice(edge);
    }

    private static Set<String> modules(Device device) throws Exception {
        List<Module> modules = REGISTRY.getModulesOnDevice(device.getDeviceId());
        return modules.stream().map(Module::getId).collect(Collectors.toSet());
    }
}
