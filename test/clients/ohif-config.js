// How OHIF is set up beside a server at the same address; its own file app-config.js is put aside.
window.config = {
  routerBasename: "/",
  extensions: [],
  modes: [],
  investigationalUseDialog: { option: "never" },
  customizationService: [{ "ohif.tours": { $set: [] } }],
  defaultDataSourceName: "strata",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
    sourceName: "strata",
    configuration: {
      friendlyName: "Strata",
      qidoRoot: "/dicom-web",
      wadoRoot: "/dicom-web",
      wadoUriRoot: "/dicom-web",
      imageRendering: "wadors",
      thumbnailRendering: "thumbnail",
      enableStudyLazyLoad: true,
      qidoSupportsIncludeField: true,
      supportsFuzzyMatching: true,
      supportsWildcard: true,
      omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: true },
    },
  }],
};
