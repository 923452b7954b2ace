"""The words of FHIR itself: what a request says in them is no patient's name, whoever wrote it.

A path may hold any word where a resource type or an operation stands, and what is shown to others keeps to these.
"""

from __future__ import annotations

from dataclasses import replace

from ..model import Classified

# FHIR R4 (4.0.1) first, then what R4B, R5, STU3 and SQL on FHIR have beside it.
_RESOURCE_TYPES = """
Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic
Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry
ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication
CommunicationRequest CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage
CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric
DeviceRequest DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis
Encounter Endpoint EnrollmentRequest EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable
ExampleScenario ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse
HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation
ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media Medication
MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement
MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication MedicinalProductIndication
MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured MedicinalProductPackaged
MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition MessageHeader
MolecularSequence NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition
OperationOutcome Organization OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation
Person PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse
RelatedPerson RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject
RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition
StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein
SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task
TerminologyCapabilities TestReport TestScript ValueSet VerificationResult VisionPrescription

AdministrableProductDefinition Citation ClinicalUseDefinition EvidenceReport Ingredient
ManufacturedItemDefinition MedicinalProductDefinition NutritionProduct PackagedProductDefinition
RegulatedAuthorization SubscriptionStatus SubscriptionTopic SubstanceDefinition

ActorDefinition ArtifactAssessment BiologicallyDerivedProductDispense ConditionDefinition DeviceAssociation
DeviceDispense DeviceUsage EncounterHistory FormularyItem GenomicStudy ImagingSelection InventoryItem
InventoryReport NutritionIntake Permission RequestOrchestration Requirements TestPlan Transport

BodySite DataElement DeviceComponent EligibilityRequest EligibilityResponse ExpansionProfile ImagingManifest
ProcedureRequest ProcessRequest ProcessResponse ReferralRequest Sequence ServiceDefinition ViewDefinition
"""

# Of the same specifications and their guides for bulk data, terminology, payers and measures, and of the servers
# of Microsoft and HAPI; in lower case, as requests are classified.
_OPERATIONS = """
$add $apply $bulk-delete $bulk-member-match $bulk-update $care-gaps $closure $collect-data $conforms
$convert-data $cql $data-requirements $delete-expunge $diff $docref $document $evaluate $evaluate-measure
$events $everything $expand $export $expunge $filter $find $find-matches $get-resource-counts
$get-ws-binding-token $graph $graphql $implements $import $includes $ips $lastn $lookup $match $member-match
$merge $meta $meta-add $meta-delete $populate $process-message $purge-history $questionnaire $reindex $remove
$snapshot $stats $status $submit $submit-data $subset $subsumes $summary $transform $translate $validate
$validate-code $versions $viewdefinition-run
"""


RESOURCE_TYPES = frozenset(_RESOURCE_TYPES.split())
OPERATIONS = frozenset(_OPERATIONS.split())


def in_own_words(classified: Classified) -> Classified:
    """The same without a type or an operation that FHIR does not know."""
    return replace(
        classified,
        resource_type=classified.resource_type if classified.resource_type in RESOURCE_TYPES else "",
        operation=classified.operation if classified.operation in OPERATIONS else "",
    )
