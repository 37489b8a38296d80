package hub;

import static hub.Emulator.REGISTRY;
import static hub.Emulator.TWINS;
import static hub.Emulator.newDevice;
import static hub.Emulator.newId;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubPreconditionFailedException;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinCollection;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** TwinClient: it patches with POST and a method override, and sends an ETag as it stands. */
class TwinTest {
    private String device;

    @BeforeEach
    void create() throws Exception {
        device = newDevice().getDeviceId();
    }

    @Test
    void a_new_twin_is_at_version_one_in_both_sections() throws Exception {
        Twin twin = TWINS.get(device);
        assertEquals(device, twin.getDeviceId());
        assertEquals(1, twin.getDesiredProperties().getVersion());
        assertEquals(1, twin.getReportedProperties().getVersion());
        assertNotNull(twin.getETag());
        assertFalse(twin.getCapabilities().isIotEdge());
    }

    @Test
    void a_patch_merges_and_null_deletes() throws Exception {
        Twin patch = new Twin(device);
        patch.getTags().put("building", Map.of("floor", 1));
        patch.getDesiredProperties().put("a", 1);
        patch.getDesiredProperties().put("b", Map.of("c", 2, "d", 3));
        Twin first = TWINS.patch(patch);
        assertEquals(2, first.getDesiredProperties().getVersion());
        assertEquals(2, first.getDesiredProperties().getTwinMetadata("b").getLastUpdatedVersion());

        Twin second = TWINS.patch(desired("b", with("c", null)));
        assertEquals(3, second.getDesiredProperties().getVersion());
        assertEquals(Map.of("d", 3), integers(second.getDesiredProperties().get("b")));
        assertEquals(1, integer(second.getDesiredProperties().get("a")));
        assertEquals(2, second.getDesiredProperties().getTwinMetadata("a").getLastUpdatedVersion());
        assertEquals(3, second.getDesiredProperties().getTwinMetadata("b").getLastUpdatedVersion());
        assertEquals(Map.of("floor", 1), integers(second.getTags().get("building")));
    }

    /** The SDK sends both sections always: what the caller left empty is emptied. */
    @Test
    void a_replacement_leaves_nothing_of_what_was_there() throws Exception {
        Twin patch = desired("a", 1);
        patch.getTags().put("room", "lab");
        TWINS.patch(patch);

        Twin replacement = desired("only", true);
        replacement.getTags().put("room", "hall");
        Twin replaced = TWINS.replace(replacement);
        assertEquals(Set.of("only"), replaced.getDesiredProperties().keySet());
        assertEquals(3, replaced.getDesiredProperties().getVersion());
        assertEquals("hall", replaced.getTags().get("room"));

        Twin emptied = TWINS.replace(new Twin(device));
        assertTrue(emptied.getDesiredProperties().isEmpty());
        assertTrue(emptied.getTags().isEmpty());
        assertEquals(4, emptied.getDesiredProperties().getVersion());
    }

    @Test
    void only_the_current_etag_changes_a_twin() throws Exception {
        String stale = TWINS.get(device).getETag();
        Twin current = TWINS.patch(desired("a", 1), stale);
        assertNotEquals(stale, current.getETag());
        assertThrows(IotHubPreconditionFailedException.class, () -> TWINS.patch(desired("a", 2), stale));
        assertThrows(IotHubPreconditionFailedException.class, () -> TWINS.replace(desired("a", 2), stale));
        assertEquals(1, integer(TWINS.get(device).getDesiredProperties().get("a")));
        TWINS.replace(desired("a", 3), "\"" + current.getETag() + "\"");
        assertEquals(4, integer(TWINS.patch(desired("a", 4), "*").getDesiredProperties().get("a")));
    }

    @Test
    void an_array_is_a_value_and_holds_no_null() throws Exception {
        Twin patched = TWINS.patch(desired("list", List.of(1, "two", Map.of("three", 3))));
        assertEquals("[1, two, {three=3}]", patched.getDesiredProperties().get("list").toString());
        assertEquals(2, patched.getDesiredProperties().getTwinMetadata("list").getLastUpdatedVersion());
        assertThrows(IotHubBadFormatException.class, () -> TWINS.patch(desired("list", Arrays.asList(1, null))));
    }

    @Test
    void a_string_past_its_limit_is_refused_and_changes_nothing() throws Exception {
        TWINS.patch(desired("text", "x".repeat(4096)));
        var refused = assertThrows(
                IotHubBadFormatException.class, () -> TWINS.patch(desired("text", "x".repeat(4097))));
        assertTrue(refused.getMessage().startsWith("ErrorCode:ArgumentInvalid;"), refused.getMessage());
        assertEquals(2, TWINS.get(device).getDesiredProperties().getVersion());
    }

    @Test
    void a_module_has_a_twin_of_its_own() throws Exception {
        REGISTRY.addModule(new Module(device, "module01"));
        Twin patch = new Twin(device, "module01");
        patch.getDesiredProperties().put("of", "the module");
        Twin patched = TWINS.patch(patch, TWINS.get(device, "module01").getETag());
        assertEquals("module01", patched.getModuleId());
        assertEquals("the module", TWINS.get(device, "module01").getDesiredProperties().get("of"));
        assertEquals(1, TWINS.get(device).getDesiredProperties().getVersion());
    }

    @Test
    void the_twin_of_what_does_not_exist_is_not_found() {
        var noDevice = assertThrows(IotHubNotFoundException.class, () -> TWINS.get(newId()));
        assertTrue(noDevice.getMessage().startsWith("ErrorCode:DeviceNotFound;"), noDevice.getMessage());
        var noModule = assertThrows(IotHubNotFoundException.class, () -> TWINS.get(device, "nothing"));
        assertTrue(noModule.getMessage().startsWith("ErrorCode:ModuleNotFound;"), noModule.getMessage());
    }

    private Twin desired(String name, Object value) {
        Twin twin = new Twin(device);
        twin.getDesiredProperties().put(name, value);
        return twin;
    }

    private static Map<String, Object> with(String name, Object value) {
        Map<String, Object> map = new HashMap<>();
        map.put(name, value);
        return map;
    }

    /** What the SDK's parser makes of a JSON number. */
    private static int integer(Object number) {
        return ((Number) number).intValue();
    }

    private static Map<String, Integer> integers(Object object) {
        Map<String, Integer> integers = new HashMap<>();
        ((TwinCollection) object).forEach((name, number) -> integers.put(name, integer(number)));
        return integers;
    }
}
