//! ICR and MSI formats, destinations, arbitration.

use super::*;

fn icr(low: u32) -> Option<Message> {
    enabled(0).write(ICR_LOW, low, at(0)).ipi
}

#[test]
fn icr_combinations_are_those_of_table_12_3() {
    for (low, sent, why) in [
        (0x0000_0041, true, "fixed, no shorthand"),
        (0x0000_0141, true, "lowest priority, no shorthand"),
        (0x0000_0200, true, "SMI"),
        (0x0000_0341, false, "delivery mode 3 is reserved"),
        (0x0000_0400, true, "NMI"),
        (0x0000_4500, true, "INIT"),
        (0x0000_c500, true, "INIT, level assert, as Linux sends it"),
        (0x0000_8500, false, "INIT level de-assert does nothing"),
        (0x0000_0610, true, "start-up"),
        (0x0000_0741, false, "delivery mode 7 is reserved in ICR"),
        (0x0008_0041, true, "fixed, all including self"),
        (0x0008_0141, false, "lowest priority, all including self"),
        (0x0008_0400, false, "NMI, all including self"),
        (0x0008_4500, false, "INIT, all including self"),
        (0x000c_0041, true, "fixed, all excluding self"),
        (0x000c_0141, true, "lowest priority, all excluding self"),
        (0x000c_0400, true, "NMI, all excluding self"),
        (0x000c_4500, true, "INIT, all excluding self"),
        (0x000c_0610, true, "start-up, all excluding self"),
    ] {
        let message = icr(low);
        assert_eq!(message.is_some(), sent, "{why}");
        if let Some(message) = message {
            assert_eq!(message.trigger, TriggerMode::Edge, "{why}: always edge");
            assert_eq!(message.vector, low as u8, "{why}: vector");
        }
    }
    assert_eq!(
        icr(0x0000_8041).map(|message| message.trigger),
        Some(TriggerMode::Edge),
        "level fixed is sent as edge"
    );
}

#[test]
fn the_self_shorthand_stays_here() {
    for (low, arrives, why) in [
        (0x0004_0041, true, "fixed"),
        (0x0004_0141, false, "lowest priority is invalid"),
        (0x0004_0441, false, "NMI is invalid"),
    ] {
        let mut lapic = enabled(0);
        assert_eq!(lapic.write(ICR_LOW, low, at(0)).ipi, None, "{why}: nothing to carry");
        assert_eq!(!requested(&lapic).is_empty(), arrives, "{why}");
    }
}

#[test]
fn xapic_destination_comes_from_the_high_half() {
    let mut lapic = enabled(0);
    let _ = lapic.write(ICR_HIGH, 0x0700_0000, at(0));
    let message = lapic.write(ICR_LOW, 0x0841, at(0)).ipi.expect("sent");
    assert_eq!(message.destination, 7, "8 bits");
    assert_eq!(message.destination_mode, DestinationMode::Logical, "bit 11");
    let _ = lapic.write(ICR_HIGH, 0xff00_0000, at(0));
    let message = lapic.write(ICR_LOW, 0x0041, at(0)).ipi.expect("sent");
    assert_eq!(message.destination, Message::BROADCAST, "0xff is everybody");
}

#[test]
fn msi_formats_are_those_of_12_11() {
    use DeliveryMode::*;
    for (address, data, expected, why) in [
        (0xfee0_3000, 0x0041, Some((3, DestinationMode::Physical, Fixed, TriggerMode::Edge)), "fixed"),
        (0xfee0_3004, 0x0041, Some((3, DestinationMode::Logical, Fixed, TriggerMode::Edge)), "logical"),
        (
            0xfee0_3008,
            0x0041,
            Some((3, DestinationMode::Physical, Fixed, TriggerMode::Edge)),
            "hint, physical",
        ),
        (
            0xfee0_300c,
            0x0041,
            Some((3, DestinationMode::Logical, LowestPriority, TriggerMode::Edge)),
            "hint, logical",
        ),
        (0xfee0_300c, 0x0400, Some((3, DestinationMode::Logical, Nmi, TriggerMode::Edge)), "hint, but NMI"),
        (
            0xfee0_3000,
            0x0141,
            Some((3, DestinationMode::Physical, LowestPriority, TriggerMode::Edge)),
            "lowest priority",
        ),
        (
            0xfee0_3000,
            0xc041,
            Some((3, DestinationMode::Physical, Fixed, TriggerMode::Level)),
            "level, assert",
        ),
        (0xfee0_3000, 0x8041, None, "level, deassert"),
        (0xfee0_3000, 0x0741, Some((3, DestinationMode::Physical, ExtInt, TriggerMode::Edge)), "ExtINT"),
        (0xfee0_3000, 0x0341, None, "mode 3 is reserved"),
        (0xfee0_3000, 0x0641, None, "mode 6 is reserved"),
        (0xfeef_f000, 0x0041, Some((!0, DestinationMode::Physical, Fixed, TriggerMode::Edge)), "broadcast"),
    ] {
        let message = Message::from_msi(address, data);
        let got = message.map(|m| (m.destination, m.destination_mode, m.delivery_mode, m.trigger));
        assert_eq!(got, expected, "{why}");
    }
}

fn to(destination: u32, destination_mode: DestinationMode, delivery_mode: DeliveryMode) -> Message {
    Message {
        destination,
        destination_mode,
        shorthand: Shorthand::None,
        delivery_mode,
        vector: 0x41,
        trigger: TriggerMode::Edge,
    }
}

/// 16 APICs in xAPIC mode with these LDRs and one DFR.
fn logical(dfr: u32, ldr: impl Fn(u32) -> u32) -> Vec<Lapic> {
    (0..16)
        .map(|id| {
            let mut lapic = enabled(id);
            let _ = lapic.write(DFR, dfr, at(0));
            let _ = lapic.write(LDR, ldr(id) << 24, at(0));
            lapic
        })
        .collect()
}

#[test]
fn destinations_are_matched_by_mode_and_model() {
    use DestinationMode::{Logical, Physical};
    let flat = logical(!0, |id| if id < 8 { 1 << id } else { 0 });
    let cluster = logical(0, |id| (id / 4) << 4 | 1 << (id % 4));
    let reserved_model = logical(0x5fff_ffff, |id| 1 << (id % 8));
    let x2apic: Vec<_> = (0..16).map(|id| enabled_x2apic(id * 2)).collect();
    for (lapics, destination, mode, mask, why) in [
        (&flat, 5, Physical, 1 << 5, "physical: one"),
        (&flat, 99, Physical, 0, "physical: nobody"),
        (&flat, !0, Physical, 0xffff, "physical: everybody"),
        (&flat, 0xff, Physical, 0xffff, "physical: 0xff as a 32-bit sender gives it"),
        (&flat, 0x105, Physical, 0, "physical: no 32-bit ID is in xAPIC mode"),
        (&flat, 0b1010_0001, Logical, 0b1010_0001, "flat: a bit for each"),
        (&flat, 0, Logical, 0, "flat: no bits"),
        (&flat, !0, Logical, 0xffff, "flat: everybody"),
        (&flat, 0x101, Logical, 0, "flat: 32-bit destinations are not for xAPIC mode"),
        (&cluster, 0x23, Logical, 0b11 << 8, "cluster 2, two bits"),
        (&cluster, 0x2f, Logical, 0b1111 << 8, "cluster 2, all"),
        (&cluster, 0x40, Logical, 0, "a cluster without members"),
        (&cluster, !0, Logical, 0xffff, "all clusters"),
        (&reserved_model, 0x01, Logical, 0, "a reserved model matches nothing"),
        (&reserved_model, !0, Logical, 0xffff, "but broadcast"),
        (&x2apic, 0x1e, Physical, 1 << 15, "x2APIC physical"),
        (&x2apic, 0xff, Physical, 0, "0xff is no broadcast in x2APIC mode"),
        (&x2apic, !0, Physical, 0xffff, "x2APIC broadcast"),
        (&x2apic, 0x0001_0005, Logical, 0b11 << 8, "x2APIC logical: cluster 1, IDs 16 and 18"),
        (&x2apic, 0x0002_0001, Logical, 0, "x2APIC logical: no such cluster"),
        (&x2apic, !0, Logical, 0xffff, "x2APIC logical broadcast"),
    ] {
        let message = to(destination, mode, DeliveryMode::Fixed);
        assert_eq!(destinations(lapics, None, &message), mask, "{why}");
    }
}

#[test]
fn shorthands_count_from_the_sender() {
    let lapics = logical(!0, |_| 0);
    for (shorthand, mask) in [
        (Shorthand::Itself, 1 << 4),
        (Shorthand::AllIncludingSelf, 0xffff),
        (Shorthand::AllExcludingSelf, 0xffff & !(1 << 4)),
    ] {
        let message = Message { shorthand, ..to(0, DestinationMode::Physical, DeliveryMode::Fixed) };
        assert_eq!(destinations(&lapics, Some(4), &message), mask, "{shorthand:?}");
    }
}

#[test]
fn lowest_priority_goes_to_the_lowest_ppr_then_id() {
    let mut lapics = logical(!0, |id| if id < 8 { 1 << id } else { 0 });
    let message = to(0b1111, DestinationMode::Logical, DeliveryMode::LowestPriority);
    assert_eq!(destinations(&lapics, None, &message), 1 << 0, "all equal: the lowest ID");
    lapics[0].set_cr8(3);
    lapics[1].set_cr8(2);
    assert_eq!(destinations(&lapics, None, &message), 1 << 2, "the lowest PPR");
    let _ = lapics[2].write(SVR, 0xff, at(0));
    assert_eq!(destinations(&lapics, None, &message), 1 << 3, "not one that is software-disabled");
    let _ = lapics[3].set_apic_base(0xfee0_0000).expect("legal");
    assert_eq!(destinations(&lapics, None, &message), 1 << 1, "not one that is disabled");
    let nobody = to(0b1100, DestinationMode::Logical, DeliveryMode::LowestPriority);
    assert_eq!(destinations(&lapics, None, &nobody), 0, "nobody can take it");
}

#[test]
fn arrival_depends_on_what_is_enabled() {
    use DeliveryMode::*;
    let cases = [
        (Fixed, Delivery::Requested, Delivery::Dropped),
        (LowestPriority, Delivery::Requested, Delivery::Dropped),
        (Smi, Delivery::Smi, Delivery::Smi),
        (Nmi, Delivery::Nmi, Delivery::Nmi),
        (Init, Delivery::Init, Delivery::Init),
        (StartUp, Delivery::StartUp { page: 0x41 }, Delivery::StartUp { page: 0x41 }),
        (ExtInt, Delivery::ExtInt, Delivery::Dropped),
    ];
    for (mode, when_enabled, when_software_disabled) in cases {
        let message = to(0, DestinationMode::Physical, mode);
        assert_eq!(enabled(0).deliver(&message), when_enabled, "{mode:?}, enabled");
        let mut lapic = Lapic::new(0, true);
        assert_eq!(lapic.deliver(&message), when_software_disabled, "{mode:?}, software-disabled");
        let _ = lapic.set_apic_base(0xfee0_0000).expect("legal");
        assert_eq!(lapic.deliver(&message), Delivery::Dropped, "{mode:?}, globally disabled");
    }
}
